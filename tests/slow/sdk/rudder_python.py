"""The official RudderStack SDK: COUNT track calls, a few a second, then a flush."""
import sys
import time

from rudderstack.analytics import Client

host, key, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = Client(key, host=host, max_retries=10, upload_interval=0.2)
for number in range(count):
    client.track(f"rudder-python-{number % 7}", "Email Opened", {"number": number})
    time.sleep(6 / count)
client.flush()
client.shutdown()
