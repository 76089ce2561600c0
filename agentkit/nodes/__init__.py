"""The four nodes of the graph, each a function from state to what it changes."""
