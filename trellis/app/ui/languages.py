"""The page in other languages: tables from the English texts, applied in the browser by the language it asks for."""

import json
from functools import cache
from pathlib import Path

STATIC = Path(__file__).parent / "static"
LANGUAGE_ROUTE = "/languages.js"


def language_tables() -> dict[str, dict[str, str]]:
    """English text -> translated text, by language; "{0}", "{1}" stand for what is filled in."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((STATIC / "languages").glob("*.json"))
    }


@cache
def language_script() -> str:
    """The script that translates the page, with its tables."""
    tables = json.dumps(language_tables(), ensure_ascii=True)
    code = (STATIC / "translate.js").read_text(encoding="utf-8")
    return f"(() => {{\nconst TABLES = {tables};\n{code}}})();\n"
