"""Small changes to a module's source, one at a time: what a test suite that looks at behaviour notices."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

COMPARE = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
BINARY = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
NAMES = {"min": "max", "max": "min", "fmin": "fmax", "fmax": "fmin", "any": "all", "all": "any", "minimum": "maximum", "maximum": "minimum"}
FACTOR = 1.5
"""How far a figure is moved: near enough that only a test of that figure sees it."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """id: module, function, statement, what became of what, and the how many-th of its like: stable while
    the statement is. scope: qualified name of its function or class, "" = module. first, last: the
    statement's lines. at_import: it acts when the module is loaded, not when a function is called."""

    id: str
    module: str
    scope: str
    first: int
    last: int
    at_import: bool
    source: str


@dataclass(frozen=True, slots=True)
class _Site:
    node: ast.AST
    scope: str
    module_level: bool


def _sites(tree: ast.Module) -> Iterator[_Site]:
    def walk(node: ast.AST, scope: str, module_level: bool) -> Iterator[_Site]:
        for name, child in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_comment"):
                continue
            for item in child if isinstance(child, list) else [child]:
                if not isinstance(item, ast.AST):
                    continue
                inner, inner_level = scope, module_level
                if isinstance(item, ast.ClassDef | ast.FunctionDef):
                    inner = f"{scope}.{item.name}" if scope else item.name
                    inner_level = module_level and isinstance(item, ast.ClassDef)
                yield _Site(item, inner, inner_level)
                yield from walk(item, inner, inner_level)

    yield from walk(tree, "", True)


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes to put in the place of ``node``."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for other in COMPARE.get(type(node.ops[0]), ()):
            yield ast.Compare(node.left, [other()], node.comparators)
    elif isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            for other in COMPARE.get(type(op), ()):
                yield ast.Compare(node.left, [*node.ops[:i], other(), *node.ops[i + 1 :]], node.comparators)
    elif isinstance(node, ast.BinOp) and type(node.op) in BINARY:
        yield ast.BinOp(node.left, BINARY[type(node.op)](), node.right)
    elif isinstance(node, ast.AugAssign) and type(node.op) in BINARY:
        yield ast.AugAssign(node.target, BINARY[type(node.op)](), node.value)
        yield ast.Pass()
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert | ast.USub):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, float):
        if node.value:
            yield ast.Constant(node.value * FACTOR)
            yield ast.Constant(node.value / FACTOR)
        else:
            yield ast.Constant(1.0)
    elif isinstance(node, ast.Name) and node.id in NAMES and isinstance(node.ctx, ast.Load):
        yield ast.Name(NAMES[node.id], ast.Load())
    elif isinstance(node, ast.Attribute) and node.attr in NAMES and isinstance(node.ctx, ast.Load):
        yield ast.Attribute(node.value, NAMES[node.attr], ast.Load())
    elif isinstance(node, ast.IfExp):
        yield node.body
        yield node.orelse
    elif isinstance(node, ast.If):
        yield ast.If(ast.Constant(True), node.body, node.orelse)
        yield ast.If(ast.Constant(False), node.body, node.orelse)
    elif isinstance(node, ast.Continue):
        yield ast.Break()
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield ast.Return(ast.Constant(None))
    elif (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)) or (
        isinstance(node, ast.Assign) and any(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets)
    ):
        yield ast.Pass()


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _skipped(site: _Site, parents: dict[ast.AST, ast.AST]) -> bool:
    """Texts, keyword names and the like: strings are not mutated; what an error says is not behaviour of the guard."""
    node: ast.AST | None = site.node
    while node is not None:
        if isinstance(node, ast.Raise) or (
            isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Annotated", "Meta", "Quantity")
        ):
            return True
        if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") in ("Literal", "Annotated", "NDArray"):
            return True
        node = parents.get(node)
    return False


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """Every mutant of ``source``, in order of its lines."""
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    seen: dict[str, int] = {}
    for site in _sites(tree):
        if _skipped(site, parents):
            continue
        for new in _changes(site.node):
            before, after = _text(site.node), _text(new)
            if before == after:
                continue
            ast.copy_location(new, site.node)
            with_new = _replaced(tree, site.node, new)
            statement = _statement(site.node, parents)
            name = f"{module}:{site.scope or 'module'}: {_text(statement)}: {before} -> {after}"
            seen[name] = seen.get(name, 0) + 1
            yield Mutant(
                id=name if seen[name] == 1 else f"{name} #{seen[name]}",
                module=module,
                scope=site.scope,
                first=statement.lineno,
                last=statement.body[0].lineno - 1
                if isinstance(statement, ast.If | ast.For | ast.While)
                else statement.end_lineno or statement.lineno,
                at_import=site.module_level,
                source=with_new,
            )


def _statement(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> ast.stmt:
    while not isinstance(node, ast.stmt):
        node = parents[node]
    return node


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.If):
        return f"if {ast.unparse(node.test)}"
    if isinstance(node, ast.For):
        return f"for {ast.unparse(node.target)} in {ast.unparse(node.iter)}"
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return f"def {node.name}"
    return ast.unparse(ast.fix_missing_locations(node)) if not isinstance(node, ast.Pass) else "pass"


def _replaced(tree: ast.Module, old: ast.AST, new: ast.AST) -> str:
    place = _place(tree, old)
    place.put(new)
    text = ast.unparse(ast.fix_missing_locations(tree))
    place.put(old)
    return text


@dataclass(slots=True)
class _Place:
    parent: ast.AST
    name: str
    index: int | None

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.name, node)
        else:
            getattr(self.parent, self.name)[self.index] = node


def _place(tree: ast.AST, wanted: ast.AST) -> _Place:
    for parent in ast.walk(tree):
        for name, child in ast.iter_fields(parent):
            if child is wanted:
                return _Place(parent, name, None)
            if isinstance(child, list):
                for index, item in enumerate(child):
                    if item is wanted:
                        return _Place(parent, name, index)
    raise AssertionError("the node is not in its tree")
