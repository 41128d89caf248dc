"""The shape of the repository: small functions, small files, flat folders, and pages that say what the code says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import msgspec
import pytest

from emeterai.core.ledger import Counter, Kind, Reason
from emeterai.core.ordering import ORDER_MOVES, OrderState
from emeterai.core.stamping import MOVES, DocumentState, StampState
from emeterai.infra.settings import Settings
from emeterai.ledger import check

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "emeterai"
FUNCTION_LINES_MAX, FILE_LINES_MAX, FOLDERS_DEEP_MAX, README_LINES_MAX = 70, 400, 3, 14
_NOT_OURS = {".git", ".venv", "var", ".mypy_cache", ".ruff_cache", ".hypothesis", ".import_linter_cache", "__pycache__"}
_TEXT = {".py", ".md", ".sql", ".toml", ".lock", ".html", ".css", ".svg", ".js", ".yml", ".yaml", ".txt", ".ini", ""}


def python_files(*folders: str) -> list[Path]:
    """Our Python files, each as its path below the repository."""
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts]
    return sorted(path.relative_to(ROOT) for path in found)


def text_files() -> Iterator[Path]:
    """Every text file that is ours."""
    for path in ROOT.rglob("*"):
        parts = set(path.relative_to(ROOT).parts)
        if path.is_file() and not parts & _NOT_OURS and path.suffix in _TEXT:
            yield path


def document(name: str) -> str:
    """A page of docs/."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def headings(text: str) -> list[str]:
    """The headings of the second level."""
    return re.findall(r"^## (.+)$", text, re.MULTILINE)


def test_functions_are_short() -> None:
    """At most 70 lines from `def` to the end."""
    long = [
        f"{path}:{node.lineno} {node.name}"
        for path in python_files("src", "tests", "bench")
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert [] == long


def test_files_are_short() -> None:
    """At most 400 lines of Python."""
    counts = {
        str(path): len((ROOT / path).read_text(encoding="utf-8").splitlines())
        for path in python_files("src", "tests", "bench")
    }
    assert {} == {path: count for path, count in counts.items() if count > FILE_LINES_MAX}


def test_folders_are_flat() -> None:
    """At most three deep below src."""
    deep = [
        str(folder.relative_to(SOURCE))
        for folder in SOURCE.rglob("*")
        if folder.is_dir() and folder.name != "__pycache__" and len(folder.relative_to(SOURCE).parts) > FOLDERS_DEEP_MAX
    ]
    assert [] == deep


def test_only_commands_print() -> None:
    """Everything else logs, answers or refuses."""
    prints = [
        f"{path}:{node.lineno}"
        for path in python_files("src")
        if path.name != "cli.py"
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert [] == prints


def test_nothing_is_left_for_later() -> None:
    """No note in the source says that something is still to be done."""
    notes = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in text_files()
        if path.is_relative_to(SOURCE)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line)
    ]
    assert [] == notes


def test_every_capability_says_what_it_is() -> None:
    """In a README that fits on a screen."""
    folders = [path.parent for path in PACKAGE.glob("*/__init__.py")]
    missing = [folder.name for folder in folders if not (folder / "README.md").is_file()]
    assert [] == missing
    lengths = {folder.name: len((folder / "README.md").read_text().splitlines()) for folder in folders}
    assert {} == {name: lines for name, lines in lengths.items() if not 3 <= lines <= README_LINES_MAX}


def test_no_file_tells_where_it_was_made() -> None:
    """No home folder of a machine, and no address of a package registry: a clone works anywhere."""
    machine = re.compile(
        r"(?<![\w.~*])/(?:home|Users)/[a-z][\w.-]*/|(?<![\w.~*])/root/[\w.]"
        rf"|{re.escape(str(ROOT))}/|https?://[^\s\"']*(?:pypi\.|pythonhosted|npmjs|/simple\b)|--(?:extra-)?index-url",
    )
    places = [
        f"{path.relative_to(ROOT)}:{number}: {found.group()}"
        for path in text_files()
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (found := machine.search(line))
    ]
    assert [] == places


@pytest.fixture(scope="module")
def refusals() -> dict[str, tuple[int, str, str]]:
    """Code to status and sentences, from a process in which no test declares any."""
    script = (
        "import json, refusals_page as it;"
        "print(json.dumps({k.code: [k.status, k.id, k.en] for k in it.catalogue().values()}))"
    )
    here = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", script], cwd=here, capture_output=True, text=True, check=True)
    return msgspec.json.decode(done.stdout, type=dict[str, tuple[int, str, str]])


def test_the_page_of_refusals_is_what_the_code_says(refusals: dict[str, tuple[int, str, str]]) -> None:
    """Every code has its heading, status and sentences; mend it with `python tests/shape/refusals_page.py`."""
    text = document("refusals.md")
    assert sorted(refusals) == headings(text)
    for code, (status, indonesian, english) in refusals.items():
        section = f"## {code}\nStatus {status}.\n\n- Indonesian: {indonesian}\n- English: {english}\n"
        assert section in text, code


def test_both_sentences_of_a_refusal_tell_the_same_facts(refusals: dict[str, tuple[int, str, str]]) -> None:
    """What one language names, the other names too; and each is a sentence with its end."""
    for code, (_, indonesian, english) in refusals.items():
        facts = [{name for _, name, _, _ in Formatter().parse(text) if name} for text in (indonesian, english)]
        assert facts[0] == facts[1], code
        assert re.fullmatch(r"[A-Z{].*[.?!}]", indonesian), code
        assert re.fullmatch(r"[A-Z{].*[.?!}]", english), code
        assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", code), code


def test_every_setting_is_explained() -> None:
    """docs/settings.md has a heading for each, with its default."""
    text = document("settings.md")
    fields = msgspec.structs.fields(Settings)
    assert [f"EMETERAI_{field.name.upper()}" for field in fields] == headings(text)
    sections = dict(zip(headings(text), re.split(r"^## .+$", text, flags=re.MULTILINE)[1:], strict=True))
    for field in fields:
        expected = f"Default: `{field.default}`." if field.default != "" else "Default: empty."
        section = sections[f"EMETERAI_{field.name.upper()}"]
        assert expected in section, field.name
        assert len(section.replace(expected, "").split()) >= 4, field.name


def diagram_lines(text: str) -> set[tuple[str, str, str]]:
    """The moves in all state diagrams of a page: (from, to, move)."""
    diagrams = re.findall(r"```mermaid\nstateDiagram-v2\n(.+?)```", text, re.DOTALL)
    return {
        (found.group(1), found.group(2), found.group(3) or "")
        for diagram in diagrams
        for line in diagram.splitlines()
        if (found := re.fullmatch(r"\s*(\S+) --> (\S+?)(?:: (\w+))?", line))
    }


def test_the_diagrams_show_exactly_the_states_and_the_moves() -> None:
    """docs/journey.md draws the tables of core/stamping.py and core/ordering.py, and nothing else."""
    lines = diagram_lines(document("journey.md"))
    table = {(str(state), str(after), str(move)) for (state, move), after in [*MOVES.items(), *ORDER_MOVES.items()]}
    assert table == {line for line in lines if "[*]" not in line}
    states = {*DocumentState, *StampState, *OrderState}
    assert states == {end for line in lines for end in line[:2]} - {"[*]"}
    final = states - {source for source, _, _ in table}
    assert final == {source for source, after, _ in lines if after == "[*]"}
    assert {"receiving", "received", "ready", "refused", "held", "awaiting_payment"} == {
        after for source, after, _ in lines if source == "[*]"
    }


def test_the_chart_of_accounts_names_every_counter_kind_and_reason() -> None:
    """docs/accounts.md knows each by the name that the code and the tables use."""
    text = document("accounts.md")
    counters = [name for name in vars(Counter) if name.isupper() and name != "LAST"]
    names = [name.lower() for name in counters] + [*Kind] + [*Reason]
    assert [] == [name for name in names if f"`{name}`" not in text]


def test_the_chart_of_accounts_lists_every_rule_of_the_audit() -> None:
    """In the words that `emeterai ledger check` prints."""
    text = " ".join(document("accounts.md").split())
    source = Path(check.__file__).read_text(encoding="utf-8")
    rules = [*check._RULES, *re.findall(r'Rule\("(every serial [^"]+)"', source)]
    assert len(rules) > len(check._RULES)
    assert [] == [rule for rule in rules if rule not in text]
