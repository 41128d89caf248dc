"""What a person does, from signing up to a file that independent judges call valid."""

from __future__ import annotations

import subprocess
from pathlib import Path

from papers import letter
from programs import need_program
from running import Person, RunningService


async def test_a_person_buys_stamps_and_downloads_a_valid_file(service: RunningService, tmp_path: Path) -> None:
    """One unit bought, one spent; the file begins with the original and pdfsig calls its signature valid."""
    pdfsig, original = need_program("pdfsig", "poppler-utils"), letter()
    person = await Person.sign_up(service, quota=1)
    answer = await person.stamp(original)
    assert 201 == answer.status_code, answer.text
    assert "sealed" == answer.json()["state"]
    sealed = (await person.api.get(f"/v1/stamps/{answer.json()['id']}/file")).raise_for_status().content
    assert original == sealed[: len(original)]
    assert {"bought": 1, "available": 0, "held": 0, "used": 1, "refunded": 0} == await person.quota()
    file = tmp_path / "sealed.pdf"
    file.write_bytes(sealed)
    judged = subprocess.run([pdfsig, str(file)], capture_output=True, text=True, check=False).stdout
    assert "Signature is Valid" in judged
    assert "Total document signed" in judged
    await person.close()
