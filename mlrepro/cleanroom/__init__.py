"""The clean room: code, inputs, variables and paths of a run, restored into an isolated folder."""
