"""Rewrites a model with 8-bit weights so that its products run in integers, as exact as in floats.

Such a file stores W = Q * s, Q in int8 and s one scale a column, and multiplies in floats: it is
small, not fast. Processors with VNNI multiply four times as many bytes a cycle as floats. So an
activation x is cut into two bytes, x = a * A + r and r = b * B + e with A, B in uint8 (less their
zero points), and x W = s * (a * A Q + b * B Q) with both products exact. What is left, e, is at
most (max x - min x) / 2 / 255^2: 16 bits of x count.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

CONTRIB = "com.microsoft"
"""The domain of onnxruntime's own operators."""
CPUINFO = Path("/proc/cpuinfo")
_EXACT = {"avx512_vnni", "avx_vnni"}


def multiplies_bytes(cpuinfo: Path = CPUINFO) -> bool:
    """Whether this processor gains: older ones add products of bytes in 16 bits, which overflow.

    Only Linux tells. ARM was not measured and counts as no.
    """
    try:
        lines = cpuinfo.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return not _EXACT.isdisjoint(flags.split())


def integer_products(model: Path) -> bytes:
    """The model, its products of activations and 8-bit weights in integers; others stay."""
    proto = ModelProto.FromString(model.read_bytes())
    graph = proto.graph
    weights, nodes = _weights(graph), list[NodeProto]()
    cut = set[str]()
    for node in graph.node:
        weight = weights.get(node.input[1]) if node.op_type == "MatMul" else None
        if weight is None:
            nodes.append(node)
            continue
        activation, result = node.input[0], node.output[0]
        if activation not in cut:  # query, key and value share theirs
            cut.add(activation)
            nodes += _cut(activation)
        nodes += _product(activation, weight, result)
    nodes = _used(nodes, {output.name for output in graph.output})
    del graph.node[:]
    graph.node.extend(nodes)
    if all(opset.domain != CONTRIB for opset in proto.opset_import):
        proto.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    return proto.SerializeToString()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weight:
    stored: str
    """Q's name: int8, [K, N]."""
    scales: str
    """s's name: [N]."""


def _weights(graph: GraphProto) -> dict[str, _Weight]:
    """The weights `Mul(Cast(Q), s)` by their names. Turns s from [1, N] into [N]."""
    constants = {constant.name: constant for constant in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    found: dict[str, _Weight] = {}
    for name, node in made.items():
        if node.op_type != "Mul" or node.input[1] not in constants:
            continue
        cast, scale = made.get(node.input[0]), constants[node.input[1]]
        stored = constants.get(cast.input[0]) if cast and cast.op_type == "Cast" else None
        if stored is None or stored.data_type != TensorProto.INT8 or len(stored.dims) != 2:
            continue
        if [*scale.dims] == [1, stored.dims[1]]:
            del scale.dims[0]  # the product is the same, and the integer operator wants it so
            found[name] = _Weight(stored=stored.name, scales=scale.name)
    return found


def _cut(x: str) -> list[NodeProto]:
    """`x` as two bytes, each with a scale and a zero point."""
    high, low = _parts(x)
    return [
        helper.make_node("DynamicQuantizeLinear", [x], high),
        helper.make_node("DequantizeLinear", high, [f"{x}_near"]),
        helper.make_node("Sub", [x, f"{x}_near"], [f"{x}_rest"]),
        helper.make_node("DynamicQuantizeLinear", [f"{x}_rest"], low),
    ]


def _product(x: str, weight: _Weight, result: str) -> list[NodeProto]:
    halves = [f"{result}_high", f"{result}_low"]
    products = [
        helper.make_node(
            "MatMulIntegerToFloat",
            [byte, weight.stored, scale, weight.scales, zero],
            [half],
            domain=CONTRIB,
        )
        for (byte, scale, zero), half in zip(_parts(x), halves, strict=True)
    ]
    return [*products, helper.make_node("Add", halves, [result])]


def _parts(x: str) -> list[list[str]]:
    """Names of the byte, its scale and its zero point, of the high part and the low one."""
    return [
        [f"{x}_{part}_{name}" for name in ("byte", "scale", "zero")] for part in ("high", "low")
    ]


def _used(nodes: Iterable[NodeProto], wanted: set[str]) -> list[NodeProto]:
    """The nodes that the outputs need, in their order."""
    kept: list[NodeProto] = []
    for node in reversed([*nodes]):
        if not wanted.isdisjoint(node.output):
            wanted = wanted.union(node.input)
            kept.append(node)
    return kept[::-1]
