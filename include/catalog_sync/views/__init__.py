"""What the page shows, one function a view, each a few look-ups by key: nothing here reads a table whole."""
