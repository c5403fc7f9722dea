"""Tables as text and in Arrow: here lives what every reader of a table needs, whatever the table holds."""
