"""Sessions in which a person moves the arm: alone, recorded, or taking over from a policy.

cell (twin or rig), hand (device), takes (recording), page ─▶ session ─▶ line, voice (what a person sees and hears)
"""
