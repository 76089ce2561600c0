"""An everyday assistant to try agentkit with: seven working tools over a small database in memory.

agentkit run "play some jazz" --model local:pocket --tools agentkit.demo:tools
"""

from agentkit.demo.everyday import everyday_tools
from agentkit.demo.world import World

tools = everyday_tools(World())
"""The seven tools over one database, which lasts as long as the process."""

__all__ = ["World", "everyday_tools", "tools"]
