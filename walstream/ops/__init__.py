"""What an operator asks for: functions over settings that return values."""
