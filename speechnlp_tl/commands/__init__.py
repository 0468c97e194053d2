"""The verbs of the command line, one module each. Heavy imports happen inside the verbs."""
