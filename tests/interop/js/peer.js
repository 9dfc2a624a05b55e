// A js-libp2p peer that does what it is told: a JSON command a line comes in, a JSON answer a line goes out
// (tests/support/interop.py says which). The first line that it prints says who it is and where it listens.
// With the argument "gossip" it speaks gossipsub, as specs/gossip.md says.
import { createHash, randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { blake3 } from '@noble/hashes/blake3.js'
import { createLibp2p } from 'libp2p'

// Node.js 20, which Debian has, lacks this; the packages above ask for Node.js 22 for its sake alone.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new this((yes, no) => { resolve = yes; reject = no })
  return { promise, resolve, reject }
}

const PIECE = 1 << 16
const DIGEST = 32

// The length of the topic, the topic and the data.
function messageId ({ topic, data }) {
  const text = Buffer.from(topic)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(text.length)
  return blake3(Buffer.concat([length, text, data]))
}

const services = { identify: identify(), ping: ping() }
if (process.argv[2] === 'gossip') {
  services.pubsub = gossipsub({
    globalSignaturePolicy: 'StrictNoSign', msgIdFn: messageId, allowPublishToZeroTopicPeers: true
  })
}

const node = await createLibp2p({
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services
})

const identified = new Map()
node.addEventListener('peer:identify', ({ detail }) => identified.set(detail.peerId.toString(), detail))

const heard = []
node.services.pubsub?.addEventListener('message', ({ detail }) => {
  heard.push({ topic: detail.topic, data: Buffer.from(detail.data).toString('hex'), type: detail.type })
})

let watched = null

// What is sent: bytes, and at the end their SHA-256.
async function sendSealed (stream, count) {
  const hash = createHash('sha256')
  const piece = randomBytes(PIECE)
  for (let left = count; left > 0; left -= PIECE) {
    const part = Buffer.from(piece.subarray(0, Math.min(left, PIECE)))
    if (part.length >= 4) part.writeUInt32BE(left)
    hash.update(part)
    await send(stream, part)
  }
  await send(stream, hash.digest())
}

async function send (stream, data) {
  if (!stream.send(data)) await stream.onDrain()
}

async function readSealed (stream) {
  const hash = createHash('sha256')
  let held = Buffer.alloc(0)
  let count = 0
  for await (const part of stream) {
    held = Buffer.concat([held, part.subarray()])
    const sure = Math.max(held.length - DIGEST, 0)
    hash.update(held.subarray(0, sure))
    held = Buffer.from(held.subarray(sure))
    count += sure
  }
  return { count, whole: hash.digest().equals(held) }
}

async function readText (stream) {
  let text = ''
  for await (const part of stream) text += Buffer.from(part.subarray()).toString()
  return text
}

// The first bytes; the iterator must not be left, or it takes the stream with it.
async function readSome (stream) {
  const { value } = await stream[Symbol.asyncIterator]().next()
  return value
}

async function howItEnds (stream) {
  try {
    for await (const _ of stream);
  } catch {
    return 'reset'
  }
  return stream.status === 'reset' || stream.status === 'aborted' ? 'reset' : 'end'
}

const settings = { maxInboundStreams: 64, maxOutboundStreams: 64 }
await node.handle('/interop/echo/1', async (stream) => {
  for await (const part of stream) await send(stream, part.subarray())
  await stream.close()
}, settings)
await node.handle('/interop/sink/1', async (stream) => {
  await send(stream, Buffer.from(JSON.stringify(await readSealed(stream))))
  await stream.close()
}, settings)
await node.handle('/interop/source/1', async (stream) => {
  await sendSealed(stream, Number(await readText(stream)))
  await stream.close()
}, settings)
await node.handle('/interop/reset/1', async (stream) => {
  await readSome(stream)
  stream.abort(new Error('as was asked'))
}, settings)
await node.handle('/interop/watch/1', async (stream) => {
  watched = 'nothing'
  await send(stream, Buffer.from('!'))
  watched = await howItEnds(stream)
}, settings)

const connection = () => node.getConnections()[0]
const open = (protocol) => connection().newStream(protocol)

const commands = {
  async dial ({ address }) {
    await node.dial(multiaddr(address))
    return {}
  },
  async identified () {
    const { remotePeer, encryption, multiplexer } = connection()
    const peer = remotePeer.toString()
    while (!identified.has(peer)) await new Promise((resolve) => setTimeout(resolve, 10))
    const told = identified.get(peer)
    return {
      peer,
      agent: told.agentVersion,
      protocols: told.protocols,
      addresses: told.listenAddrs.map(String),
      observed: told.observedAddr?.toString() ?? null,
      encryption,
      multiplexer
    }
  },
  async ping () {
    await node.services.ping.ping(connection().remotePeer)
    return {}
  },
  async echo ({ count }) {
    const stream = await open('/interop/echo/1')
    const [read] = await Promise.all([readSealed(stream), sendSealed(stream, count).then(() => stream.close())])
    return read
  },
  async send ({ count }) {
    const stream = await open('/interop/sink/1')
    await sendSealed(stream, count)
    await stream.close()
    return JSON.parse(await readText(stream))
  },
  async fetch ({ count }) {
    const stream = await open('/interop/source/1')
    await send(stream, Buffer.from(String(count)))
    await stream.close()
    return await readSealed(stream)
  },
  async provoke () {
    const stream = await open('/interop/reset/1')
    await send(stream, Buffer.from('?'))
    return { saw: await howItEnds(stream) }
  },
  async abandon () {
    const stream = await open('/interop/watch/1')
    await readSome(stream)
    stream.abort(new Error('as was asked'))
    return {}
  },
  async watched () {
    return { saw: watched }
  },
  async follow ({ topic }) {
    node.services.pubsub.subscribe(topic)
    return {}
  },
  async tell ({ topic, data }) {
    const { recipients } = await node.services.pubsub.publish(topic, Buffer.from(data, 'hex'))
    return { recipients: recipients.length }
  },
  async heard () {
    return { heard }
  },
  async mesh ({ topic }) {
    return { mesh: node.services.pubsub.getMeshPeers(topic) }
  }
}

const say = (told) => console.log(JSON.stringify(told))
say({ peer: node.peerId.toString(), addresses: node.getMultiaddrs().map(String) })
for await (const line of createInterface({ input: process.stdin })) {
  const { do: name, ...said } = JSON.parse(line)
  try {
    say(await commands[name](said))
  } catch (error) {
    say({ error: String(error.stack ?? error) })
  }
}
await node.stop()
process.exit(0)
