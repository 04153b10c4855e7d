"""The code of a registered bundle: MLflow keeps this file beside the bundle and runs it to load the model.

A question is a row of a table, with columns of LANDMARKS (see raysign.schema): arrays as the bytes of little-endian
float32, in which what was not seen is NaN. Of a model that was registered for it, also a row with the column `path`, a
video or an image that the server may read (see raysign.infer.media). An answer is a row of glosses with their
probabilities, likeliest first.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from raysign import schema
from raysign.errors import ClipError, RaysignError
from raysign.infer.predictor import Predictor, top
from raysign.learn import bundle

ASKED = pa.schema([field for field in schema.LANDMARKS if field.name in {
    "layout", "persons", "frames", "points", "values", "visibility", "fps", "width", "height",
    "features", "features_kind",
}])  # fmt: skip
PATH = "path"


class Recogniser(PythonModel):
    """A bundle as MLflow asks it."""

    def load_context(self, context) -> None:
        made = bundle.load(Path(context.artifacts["bundle"]))
        self.predictor, self.media = Predictor(made, "auto"), None
        if models := context.artifacts.get("models"):
            from raysign.infer.media import Media  # MediaPipe itself is imported with the first file

            self.media = Media(made, Path(models))

    def predict(self, context, model_input: pd.DataFrame, params: dict | None = None) -> pd.DataFrame:  # noqa: ARG002
        """A row for each row asked: glosses and probabilities of the `top` likeliest (all: 0 or less), the error of
        landmarks that cannot be used (None for none), and what else the bundle's task tells, such as `decoded`.
        """
        labels = self.predictor.bundle.labels
        k = (params or {}).get("top", 5)
        k = k if k > 0 else len(labels)
        rows = []
        for answer in self.predictor.each([self._found(row) for row in _rows(model_input)]):
            if isinstance(answer, RaysignError):
                rows.append({"glosses": [], "probabilities": [], "error": str(answer)})
                continue
            probabilities, told = answer
            names, shares = zip(*top(probabilities, labels, k), strict=True)
            rows.append({"glosses": list(names), "probabilities": list(shares), "error": None, **told})
        columns = None if rows else ["glosses", "probabilities", "error"]
        return pd.DataFrame(rows, columns=columns, dtype=object)  # else None becomes NaN

    def _found(self, row: dict) -> schema.Landmarks | RaysignError:
        if PATH not in row:
            return _landmarks(row)
        if self.media is None:
            return ClipError("path: this model reads no files; register it with --media, or ask with landmarks")
        return self.media.landmarks(str(row[PATH]))


def _rows(asked: pd.DataFrame) -> list[dict]:
    """The cells of each row that are there, by column. What tables and JSON make of whole numbers is one again."""
    known = [name for name in (*ASKED.names, PATH) if name in asked.columns]
    whole = {field.name for field in ASKED if pa.types.is_integer(field.type)}
    return [
        {str(name): int(cell) if name in whole else cell for name, cell in row.items() if not _missing(cell)}
        for row in asked.filter(known).to_dict("records")
    ]


def _missing(cell: object) -> bool:
    return cell is None or cell is pd.NA or (isinstance(cell, float) and np.isnan(cell))


def _landmarks(row: dict) -> schema.Landmarks | RaysignError:
    """The landmarks of a row, or why there are none."""
    try:
        size = len(row["features"]) // 4 // row["frames"] if row.get("features") else None
        table = pa.Table.from_pylist([row], ASKED).append_column("feature_size", pa.array([size], pa.int32()))
        return next(schema.landmarks_of(table))
    except RaysignError as error:
        return error
    except (KeyError, TypeError, ValueError, ArithmeticError, pa.ArrowException) as error:
        return ClipError(f"row: found none of raysign's LANDMARKS ({error}); see the model's input example")


set_model(Recogniser())
