"""The log forwarder: files of logs to Amazon Data Firehose, no accepted line lost."""
