"""Orders a node to leave, as people do: a sender on the topic, logged in by the Azure command line.

Run by the ancestor's own Python: NAMESPACE TOPIC OPERATION.
"""

import json
import sys

from azure.identity import AzureCliCredential
from azure.servicebus import ServiceBusClient, ServiceBusMessage

namespace, topic, operation = sys.argv[1:]
with ServiceBusClient(namespace, AzureCliCredential()) as client, client.get_topic_sender(topic) as sender:
    sender.send_messages(ServiceBusMessage(json.dumps({"operation": operation})))
