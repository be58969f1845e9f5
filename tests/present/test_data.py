"""What a program reads."""

import json
import math

from mlrepro.commands.listing import Row
from mlrepro.drift import Difference, Measure, Verdict
from mlrepro.manifest import Artifact, Digest, Manifest, Role, Run, Status
from mlrepro.present import data

RUN = Run(("python", "t.py"), "2026-01-01T00:00:00Z", Status.COMPLETED)


def test_words_of_enums_and_digests_are_text():
    artifact = Artifact("m", Role.WEIGHTS, Digest("md5", "0" * 32), 1)

    shown = json.loads(data.to_json(artifact))

    assert (shown["role"], shown["digest"]) == ("weights", "md5:" + "0" * 32)


def test_a_manifest_comes_with_its_id_and_can_be_read_back():
    record = Manifest(RUN)

    shown = json.loads(data.to_json(record))

    assert Manifest.from_dict(shown).id == record.id == shown["id"]


def test_numbers_that_json_has_no_word_for_are_text():
    found = Difference("m", Verdict.DRIFTED, measures=(Measure("rms", math.inf),))

    shown = json.loads(data.to_json(found))

    assert shown["measures"][0]["value"] == "inf"
    assert shown["verdict"] == "drifted"


def test_csv_has_a_header_and_a_line_for_each_row():
    row = Row("ab", "a,b", Status.FAILED, "now", 1.5, "python", "Ann", ("m", "n"), "")

    lines = data.to_csv((row,)).splitlines()

    assert lines[0].startswith("id,name,status")
    assert lines[1].startswith('ab,"a,b",failed')
