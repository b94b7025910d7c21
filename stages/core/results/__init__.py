"""The frozen values that cross stages. Each is one JSON file; `jsonfile` reads and writes them."""
