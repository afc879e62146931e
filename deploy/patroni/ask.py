"""Asks over HTTP: ends with 0 if the answer is 200. `leads`: whether the Holdfast node says that it leads."""
import json
import sys
import urllib.request

url = sys.argv[1]
try:
    if sys.argv[2:] == ["leads"]:
        with urllib.request.urlopen(urllib.request.Request(url, data=b"{}", method="POST"), timeout=2) as answer:
            status = json.load(answer)
        print("yes" if status.get("leader") == status["header"]["member_id"] else "no")
    else:
        with urllib.request.urlopen(url, timeout=2) as answer:
            sys.exit(0 if answer.status == 200 else 1)
except OSError:
    sys.exit(1)
