"""Names of the files in a page's folder, and of what lies in its rings."""

PLAN, HELLO, LOG = "page.json", "hello.json", "page.log"
STEPS, SESSION, ASKS = "steps", "session", "asks"  # rings
TOLD, STARTS = 1, 2  # kinds of messages in the ring of the session
