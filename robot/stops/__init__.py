"""What presses the e-stop besides the agent: a network button box, a pedal, a contact on a GPIO line.

They run in a process of their own (`server`), a child of the supervisor's: it works on while the agent hangs or is
dead, and while the guard is started anew. All press one page of memory (`page`), which latches.
"""
