"""What a click in a scene means: MRML nodes in, requests to the engine out, masks back into segments. No Qt, no torch."""
