"""A `.task` bundle put together from single `.tflite` files, byte for byte the same each time.

A bundle is an uncompressed zip of models under fixed names. Models of the older wheels are brought to what the newer
tasks expect, with the flatbuffer classes of the mediapipe wheel itself:
two lack the metadata that tells how their input image is scaled (to 0..1), and are refused without it;
the face model gives 468 points, which the newer task reads as 478, two numbers to a point, and so scrambles in silence.
"""

import io
import zipfile

import flatbuffers
import numpy as np
from mediapipe.tasks.metadata import metadata_schema_py_generated as about
from mediapipe.tasks.metadata import schema_py_generated as tflite

_METADATA_BUFFER = "TFLITE_METADATA"  # the name under which TensorFlow Lite keeps a model's metadata
_EYES = (33, 160, 158, 133, 153, 362, 385, 387, 263, 373)  # of the right eye, then of the left
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


def with_iris_points(model: bytes) -> bytes:
    """The face model giving 478 points instead of 468: points of the eyes' outline stand for the ten of the irises.

    They lie within the face, so that the region tracked around all points stays as it was; nobody reads them.
    """
    changed = tflite.ModelT.InitFromPackedBuf(model, 0)
    graph = changed.subgraphs[0]
    points = graph.outputs[0]
    order = [*range(468), *_EYES]
    numbers = tflite.BufferT()
    numbers.data = np.array([3 * point + axis for point in order for axis in range(3)], np.int32).view(np.uint8)  # pyright: ignore[reportAttributeAccessIssue]
    changed.buffers.append(numbers)
    index = _tensor("point_order", [3 * len(order)], len(changed.buffers) - 1)
    index.type = tflite.TensorType.INT32
    graph.tensors += [index, _tensor("points_478", [1, 1, 1, 3 * len(order)])]
    code = tflite.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = tflite.BuiltinOperator.GATHER
    code.version = 1
    changed.operatorCodes.append(code)
    gather = tflite.OperatorT()
    gather.opcodeIndex = len(changed.operatorCodes) - 1
    gather.inputs, gather.outputs = [points, len(graph.tensors) - 2], [len(graph.tensors) - 1]
    gather.builtinOptionsType, gather.builtinOptions = tflite.BuiltinOptions.GatherOptions, tflite.GatherOptionsT()
    gather.builtinOptions.axis = 3
    graph.operators.append(gather)
    graph.outputs = [len(graph.tensors) - 1, *graph.outputs[1:]]
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
