"""The local Service Bus: AMQP 1.0 endpoints and the resource type Microsoft.ServiceBus.

`server.ServiceBusServer` listens, `namespaces.Namespaces` says what there is, `broker.Broker` keeps the entities of one
namespace, `arm` creates them. Everything lives in memory and ends with the process: it is a Service Bus for a laptop
and for tests, spoken to by the unchanged SDKs.

Layers, each knowing only those before it: values on the wire (`amqp_types`, `encoding`, `decoding`, `framing`,
`performatives`, `message`), entities without any network (`settings` to `broker`), the network (`link` to `server`).
"""
