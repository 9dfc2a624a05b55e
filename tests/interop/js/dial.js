// Dials a multiaddr (the first argument), identifies the peer, pings it, and sends bytes through a stream of a protocol
// that the second argument names. Prints one JSON object.
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

// Node.js 20, which Debian has, lacks this; the packages above ask for Node.js 22 for its sake alone.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new this((yes, no) => { resolve = yes; reject = no })
  return { promise, resolve, reject }
}

const [, , address, echoProtocol] = process.argv

const node = await createLibp2p({
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify(), ping: ping() }
})

const identified = new Promise((resolve) => {
  node.addEventListener('peer:identify', (event) => resolve(event.detail), { once: true })
})

const target = multiaddr(address)
const connection = await node.dial(target)
const told = await identified
const roundTrip = await node.services.ping.ping(target)

let echoed = 0
if (echoProtocol != null) {
  const stream = await connection.newStream(echoProtocol)
  const sent = new Uint8Array(1 << 20).fill(7)
  const reading = (async () => {
    for await (const part of stream) {
      echoed += part.byteLength
      if (echoed >= sent.byteLength) break
    }
  })()
  for (let place = 0; place < sent.byteLength; place += 65536) {
    if (!stream.send(sent.subarray(place, place + 65536))) await stream.onDrain()
  }
  await reading
  await stream.close()
}

console.log(JSON.stringify({
  peer: connection.remotePeer.toString(),
  agent: told.agentVersion,
  protocols: told.protocols,
  addresses: told.listenAddrs.map(String),
  observed: told.observedAddr?.toString() ?? null,
  encryption: connection.encryption,
  multiplexer: connection.multiplexer,
  roundTrip,
  echoed
}))
await node.stop()
