"""A `.task` bundle put together from single `.tflite` files, byte for byte the same each time.

A bundle is an uncompressed zip of models under fixed names. Two of the models of the older wheels lack the metadata
that tells how their input image is scaled (to 0..1), without which the newer tasks refuse them: it is added here, with
the flatbuffer classes of the mediapipe wheel itself.
"""

import io
import zipfile

import flatbuffers
import numpy as np
from mediapipe.tasks.metadata import metadata_schema_py_generated as about
from mediapipe.tasks.metadata import schema_py_generated as tflite

_METADATA_BUFFER = "TFLITE_METADATA"  # the name under which TensorFlow Lite keeps a model's metadata
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold: the same bytes whenever it is made


def bundle(members: dict[str, bytes]) -> bytes:
    """The `.task` file of the given models, file name -> content."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system, info.external_attr = 3, 0o644 << 16  # as on Unix, wherever it is made
            archive.writestr(info, content)
    return memory.getvalue()


def with_unit_scaling(model: bytes) -> bytes:
    """The model with metadata saying that its input pixels 0..255 are divided by 255."""
    scaling = about.NormalizationOptionsT()
    scaling.mean, scaling.std = [0.0], [255.0]
    unit = about.ProcessUnitT()
    unit.optionsType, unit.options = about.ProcessUnitOptions.NormalizationOptions, scaling
    image = about.TensorMetadataT()
    image.processUnits = [unit]
    graph = about.SubGraphMetadataT()
    graph.inputTensorMetadata = [image]
    metadata = about.ModelMetadataT()
    metadata.subgraphMetadata = [graph]

    changed = tflite.ModelT.InitFromPackedBuf(model, 0)
    content = tflite.BufferT()
    content.data = np.frombuffer(_packed(metadata, b"M001"), np.uint8)  # pyright: ignore[reportAttributeAccessIssue]
    changed.buffers.append(content)
    entry = tflite.MetadataT()
    entry.name, entry.buffer = _METADATA_BUFFER, len(changed.buffers) - 1
    changed.metadata = [*(changed.metadata or []), entry]
    return _packed(changed, b"TFL3")


def blendshapes_stub() -> bytes:
    """A model with the shapes of the face-expression model, all weights zero.

    The holistic bundle must hold one although raysign never asks for expressions: (1, 146, 2) -> (1, 52).
    """
    weights = tflite.BufferT()
    weights.data = np.zeros(52 * 292, np.float32).view(np.uint8)  # pyright: ignore[reportAttributeAccessIssue]
    layer = tflite.OperatorT()
    layer.inputs, layer.outputs = [0, 1, -1], [2]
    layer.builtinOptionsType, layer.builtinOptions = (
        tflite.BuiltinOptions.FullyConnectedOptions,
        tflite.FullyConnectedOptionsT(),
    )
    graph = tflite.SubGraphT()
    graph.tensors = [_tensor("points", [1, 146, 2]), _tensor("weights", [52, 292], 1), _tensor("shapes", [1, 52])]
    graph.inputs, graph.outputs, graph.operators = [0], [2], [layer]
    code = tflite.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = tflite.BuiltinOperator.FULLY_CONNECTED
    model = tflite.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [tflite.BufferT(), weights]
    return _packed(model, b"TFL3")


def _tensor(name: str, shape: list[int], buffer: int = 0):
    tensor = tflite.TensorT()
    tensor.name, tensor.shape, tensor.buffer = name, shape, buffer
    tensor.type = tflite.TensorType.FLOAT32
    return tensor


def _packed(value, identifier: bytes) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(value.Pack(builder), file_identifier=identifier)
    return bytes(builder.Output())
