"""For each profile NAME among the arguments: asks the verifier NAME.py about every vector of NAME.json, both in the
folder of this process, and prints `NAME VECTOR true` or `false`."""

import datetime
import importlib.util
import json
import sys

for name in sys.argv[1:]:
    specification = importlib.util.spec_from_file_location(name.replace("-", "_"), f"{name}.py")
    verifier = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(verifier)
    with open(f"{name}.json", encoding="utf-8") as file:
        document = json.load(file)
    for vector in document["vectors"]:
        now = datetime.datetime.fromisoformat(vector["verified_at"].replace("Z", "+00:00")).timestamp()
        query = vector["url"].partition("?")[2]
        try:
            verifier.verify(dict(vector["headers"]), vector["body"].encode(), vector["secrets"], query, int(now))
            verdict = "true"
        except ValueError:
            verdict = "false"
        print(name, vector["name"], verdict)
