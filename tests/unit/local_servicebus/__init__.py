"""The parts of the local Service Bus without any network and with a clock of the tests' own."""
