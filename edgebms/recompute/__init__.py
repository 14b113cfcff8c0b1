"""The evidence once more, by plain loops that share no code with ``edgebms.evidence``: what an audit holds a trace against."""
