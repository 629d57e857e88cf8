"""The SQL of subscription rules, compiled to functions. Pure.

Three-valued logic as in SQL: a comparison with a missing property is unknown (None), and only true matches. What the
language has and this does not: functions such as newid(), and parameters.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import LarkError, VisitError

MAX_LENGTH = 1024
"""Longest condition that the service takes."""

Properties = Mapping[Any, Any]
Evaluator = Callable[[Properties, Properties], Any]
"""A value from system properties and application properties; None is unknown."""

_GRAMMAR = r"""
?start: disjunction
?disjunction: conjunction ("OR"i conjunction)*      -> disjunction
?conjunction: negation ("AND"i negation)*           -> conjunction
?negation: "NOT"i negation                          -> negate
    | condition
?condition: sum
    | sum COMPARISON sum                            -> compare
    | sum "IN"i "(" sum ("," sum)* ")"              -> is_in
    | sum "NOT"i "IN"i "(" sum ("," sum)* ")"       -> is_not_in
    | sum "LIKE"i sum ("ESCAPE"i STRING)?           -> like
    | sum "NOT"i "LIKE"i sum ("ESCAPE"i STRING)?    -> not_like
    | sum "IS"i "NULL"i                             -> is_null
    | sum "IS"i "NOT"i "NULL"i                      -> is_not_null
    | "EXISTS"i "(" property ")"                    -> is_not_null
?sum: product
    | sum "+" product                               -> add
    | sum "-" product                               -> subtract
?product: factor
    | product "*" factor                            -> multiply
    | product "/" factor                            -> divide
    | product "%" factor                            -> modulo
?factor: "-" factor                                 -> minus
    | "(" disjunction ")"
    | STRING                                        -> string
    | NUMBER                                        -> number
    | "TRUE"i                                       -> true
    | "FALSE"i                                      -> false
    | "NULL"i                                       -> null
    | property
property: (SCOPE ".")? (NAME | BRACKETED | QUOTED)
SCOPE.2: /(sys|user)(?=\s*\.)/i
NAME: /[A-Za-z_][A-Za-z0-9_]*/
BRACKETED: /\[(?:[^\]]|\]\])+\]/
QUOTED: /"(?:[^"]|"")+"/
STRING: /'(?:[^']|'')*'/
NUMBER: /\d+(\.\d+)?([eE][+-]?\d+)?/
COMPARISON: "<>" | "!=" | "<=" | ">=" | "=" | "<" | ">"
%ignore /\s+/
"""

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class SqlFilterError(ValueError):
    """A condition that is not valid. The text says where."""


def compile_filter(text: str, system_properties: Mapping[str, str]) -> Evaluator:
    """Compile a condition.

    Args:
        text: The condition.
        system_properties: Names after `sys.`, in lower case, and the keys under which messages hold them.

    Raises:
        SqlFilterError: It cannot be read, or names an unknown system property.
    """
    if len(text) > MAX_LENGTH:
        raise SqlFilterError(f"a SQL filter has at most {MAX_LENGTH} characters, this one {len(text)}")
    try:
        tree = _parser().parse(text)
        evaluator: Evaluator = _Compiler(system_properties).transform(tree)
    except VisitError as error:
        raise SqlFilterError(str(error.orig_exc)) from error
    except LarkError as error:
        raise SqlFilterError(f"the SQL filter cannot be read: {str(error).splitlines()[0]}") from error
    return evaluator


@functools.cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr")


@v_args(inline=True)
class _Compiler(Transformer[Token, Evaluator]):
    """Makes a function of each node, from the leaves up."""

    def __init__(self, system_properties: Mapping[str, str]) -> None:
        super().__init__()
        self._system_properties = system_properties

    # leaves

    def property(self, *tokens: Token) -> Evaluator:
        name = str(tokens[-1])
        if tokens[-1].type == "BRACKETED":
            name = name[1:-1].replace("]]", "]")
        elif tokens[-1].type == "QUOTED":
            name = name[1:-1].replace('""', '"')
        if len(tokens) == 1 or tokens[0].lower() == "user":
            return lambda system, user: user.get(name)
        key = self._system_properties.get(name.lower())
        if key is None:
            raise SqlFilterError(f"unknown system property sys.{name}")
        return lambda system, user: system.get(key)

    def string(self, token: Token) -> Evaluator:
        return _constant(_unquote(token))

    def number(self, token: Token) -> Evaluator:
        return _constant(int(token) if token.isdigit() else float(token))

    def true(self) -> Evaluator:
        return _constant(True)

    def false(self) -> Evaluator:
        return _constant(False)

    def null(self) -> Evaluator:
        return _constant(None)

    # arithmetic

    def add(self, left: Evaluator, right: Evaluator) -> Evaluator:
        return _strict(operator.add, left, right)

    def subtract(self, left: Evaluator, right: Evaluator) -> Evaluator:
        return _strict(operator.sub, left, right)

    def multiply(self, left: Evaluator, right: Evaluator) -> Evaluator:
        return _strict(operator.mul, left, right)

    def divide(self, left: Evaluator, right: Evaluator) -> Evaluator:
        return _strict(operator.truediv, left, right)

    def modulo(self, left: Evaluator, right: Evaluator) -> Evaluator:
        return _strict(operator.mod, left, right)

    def minus(self, value: Evaluator) -> Evaluator:
        return _strict(operator.neg, value)

    # conditions

    def compare(self, left: Evaluator, comparison: Token, right: Evaluator) -> Evaluator:
        return _strict(_COMPARISONS[comparison], left, right)

    def is_in(self, value: Evaluator, *items: Evaluator) -> Evaluator:
        return _any([_strict(operator.eq, value, item) for item in items])

    def is_not_in(self, value: Evaluator, *items: Evaluator) -> Evaluator:
        return _not(self.is_in(value, *items))

    def like(self, value: Evaluator, pattern: Evaluator, escape: Token | None = None) -> Evaluator:
        return _strict(functools.partial(_like, escape=_unquote(escape) if escape else None), value, pattern)

    def not_like(self, value: Evaluator, pattern: Evaluator, escape: Token | None = None) -> Evaluator:
        return _not(self.like(value, pattern, escape))

    def is_null(self, value: Evaluator) -> Evaluator:
        return lambda system, user: value(system, user) is None

    def is_not_null(self, value: Evaluator) -> Evaluator:
        return lambda system, user: value(system, user) is not None

    # logic

    def negate(self, value: Evaluator) -> Evaluator:
        return _not(value)

    def conjunction(self, *parts: Evaluator) -> Evaluator:
        return parts[0] if len(parts) == 1 else _not(_any([_not(part) for part in parts]))

    def disjunction(self, *parts: Evaluator) -> Evaluator:
        return parts[0] if len(parts) == 1 else _any(parts)


def _constant(value: Any) -> Evaluator:
    return lambda system, user: value


def _strict(function: Callable[..., Any], *arguments: Evaluator) -> Evaluator:
    """Unknown if any argument is, or if the function is not defined for such values."""

    def evaluate(system: Properties, user: Properties) -> Any:
        values = [argument(system, user) for argument in arguments]
        if any(value is None for value in values):
            return None
        try:
            return function(*values)
        except (TypeError, ArithmeticError):
            return None

    return evaluate


def _not(value: Evaluator) -> Evaluator:
    def evaluate(system: Properties, user: Properties) -> bool | None:
        result = value(system, user)
        return None if result is None else result is not True

    return evaluate


def _any(parts: list[Evaluator] | tuple[Evaluator, ...]) -> Evaluator:
    """True if one part is; else unknown if one part is; else false."""

    def evaluate(system: Properties, user: Properties) -> bool | None:
        results = [part(system, user) for part in parts]
        if any(result is True for result in results):
            return True
        return None if any(result is None for result in results) else False

    return evaluate


def _like(value: Any, pattern: Any, *, escape: str | None) -> bool:
    expression = ""
    characters = iter(str(pattern))
    for character in characters:
        if character == escape:
            expression += re.escape(next(characters, ""))
        else:
            expression += {"%": ".*", "_": "."}.get(character, re.escape(character))
    return re.fullmatch(expression, str(value), re.DOTALL) is not None


def _unquote(token: Token) -> str:
    return str(token)[1:-1].replace("''", "'")
