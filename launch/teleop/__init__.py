"""Sessions in which a person moves the arm: alone, recorded, or taking over from a policy.

cell (twin or rig), hand (device), takes (recording), page ─▶ session ◀─▶ desk (keys, page, line, voice)
"""
