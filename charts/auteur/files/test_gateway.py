"""The API says that it is healthy, within two minutes: it may have been installed a moment ago."""

import os
import sys
import time
import urllib.error
import urllib.request

deadline = time.monotonic() + 120
request = urllib.request.Request(os.environ["URL"], headers={"Host": "localhost"})
while True:
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            said = answer.read().decode()
    except urllib.error.HTTPError as error:
        said = error.read().decode()
    except OSError as error:
        said = str(error)
    if '"status":"healthy"' in said.replace(" ", ""):
        sys.stdout.write(f"{said}\n")
        break
    if time.monotonic() > deadline:
        sys.exit(f"{os.environ['URL']} is not healthy: {said}")
    time.sleep(2)
