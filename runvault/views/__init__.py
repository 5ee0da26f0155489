"""Floor 5: values become text, Markdown, frames and figures. Nothing here decides anything."""
