"""One package per vendor, each turning the vendor's errors into ``domain.errors`` at its own boundary; and fakes."""
