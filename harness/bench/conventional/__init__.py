"""The yardstick: each piece of work written plainly, as public tools do it. Shares no code with what is measured."""
