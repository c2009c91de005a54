"""Reports: tables for a terminal, and self-contained HTML pages."""
