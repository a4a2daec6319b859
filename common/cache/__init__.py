"""Results kept between commands: arrays by content hash, and facts about files."""
