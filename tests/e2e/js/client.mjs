// A foreign A2A client (npm @a2a-js/sdk) uses an agent of ours the way its users would.
//
// Usage: node client.mjs CARD_URL BINDING, with the bearer token (if any) in AGENT_TOKEN and an
// absolute folder to work in as AGENT_CWD. Prints the name of each step that held, as one JSON list.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Message, TaskState } from '@a2a-js/sdk';
import { ClientFactory, ClientFactoryOptions, DefaultAgentCardResolver, JsonRpcTransportFactory,
  RestTransportFactory } from '@a2a-js/sdk/client';

const [cardUrl, binding] = process.argv.slice(2);
const token = process.env.AGENT_TOKEN;
const EXTENSION = 'urn:a2a-gateway:coding-run:1';

const fetchImpl = (input, init = {}) => {
  const headers = new Headers(init.headers);
  if (token) headers.set('Authorization', `Bearer ${token}`);
  return fetch(input, { ...init, headers });
};
const options = ClientFactoryOptions.createFrom(ClientFactoryOptions.default, {
  transports: [new JsonRpcTransportFactory({ fetchImpl }), new RestTransportFactory({ fetchImpl })],
  preferredTransports: [binding],
  cardResolver: new DefaultAgentCardResolver({ fetchImpl }),
});
const client = await new ClientFactory(options).createFromUrl(cardUrl, '');

function request(text, { taskId = '', contextId = '', ...configuration } = {}) {
  const message = Message.fromJSON({
    messageId: randomUUID(), role: 'ROLE_USER', parts: [{ text }], taskId, contextId,
    metadata: { [EXTENSION]: { cwd: process.env.AGENT_CWD } },
  });
  return {
    tenant: '', message, metadata: undefined,
    configuration: {
      acceptedOutputModes: [], taskPushNotificationConfig: undefined, returnImmediately: false,
      ...configuration,
    },
  };
}

async function send(text, more) {
  const result = await client.sendMessage(request(text, more));
  return result.payload?.value ?? result;
}

const texts = (parts) => parts.filter((p) => p.content.$case === 'text').map((p) => p.content.value);
const state = (task) => TaskState[task.status.state];

async function collect(stream, until = () => false) {
  const items = [];
  for await (const item of stream) {
    items.push(item.payload);
    if (until(item.payload)) break;
  }
  return items;
}

const steps = {
  async 'sends and gets the finished task'() {
    const task = await send('say hello\nartifact notes some text');
    assert.equal(state(task), 'TASK_STATE_COMPLETED');
    assert.deepEqual(task.artifacts.map((a) => a.artifactId).slice(-1), ['final-response']);
    assert.ok(task.artifacts.some((a) => texts(a.parts).includes('some text')));
    assert.ok(task.history.some((m) => texts(m.parts).includes('hello')));
    const again = await client.getTask({ tenant: '', id: task.id });
    assert.equal(state(again), 'TASK_STATE_COMPLETED');
    const short = await client.getTask({ tenant: '', id: task.id, historyLength: 0 });
    assert.equal(short.history.length, 0);
  },

  async 'streams'() {
    const items = await collect(client.sendMessageStream(request('say one\nreason hm\nsay two')));
    assert.equal(items[0].$case, 'task');
    const updates = items.filter((i) => i.$case === 'statusUpdate').map((i) => i.value.status);
    const said = updates.filter((s) => s.message).flatMap((s) => texts(s.message.parts));
    assert.deepEqual(said, ['one', 'two']);
    assert.equal(TaskState[updates.at(-1).state], 'TASK_STATE_COMPLETED');
    const artifacts = items.filter((i) => i.$case === 'artifactUpdate');
    assert.deepEqual(texts(artifacts.at(-1).value.artifact.parts), ['two']);
  },

  async 'answers an input-required task with its id alone'() {
    const asked = await send('ask which colour?');
    assert.equal(state(asked), 'TASK_STATE_INPUT_REQUIRED');
    assert.match(texts(asked.status.message.parts)[0], /which colour\?/);
    const done = await send('blue', { taskId: asked.id });
    assert.equal(done.id, asked.id);
    assert.equal(done.contextId, asked.contextId);
    assert.equal(state(done), 'TASK_STATE_COMPLETED');
    assert.ok(done.history.some((m) => texts(m.parts).some((t) => t.includes('blue'))));
  },

  async 'answers over a stream'() {
    const asked = await collect(client.sendMessageStream(request('ask which size?\nsay thanks')));
    const last = asked.at(-1).value;
    assert.equal(state(last), 'TASK_STATE_INPUT_REQUIRED');
    const rest = await collect(client.sendMessageStream(request('large', { taskId: last.taskId })));
    assert.equal(state(rest.at(-1).value), 'TASK_STATE_COMPLETED');
  },

  async 'returns immediately, resubscribes, cancels'() {
    const task = await send('hang', { returnImmediately: true });
    const watching = client.resubscribeTask({ tenant: '', id: task.id });
    const first = await watching.next();
    assert.equal(first.value.payload.$case, 'task');
    const cancelled = await client.cancelTask({ tenant: '', id: task.id });
    assert.equal(state(cancelled), 'TASK_STATE_CANCELED');
    const rest = await collect(watching);
    assert.equal(state(rest.at(-1).value), 'TASK_STATE_CANCELED');
    await assert.rejects(client.cancelTask({ tenant: '', id: task.id }), /already/);
  },

  async 'lists a context in pages'() {
    const first = await send('say 1');
    for (const n of [2, 3]) await send(`say ${n}`, { contextId: first.contextId });
    const filter = { tenant: '', contextId: first.contextId, status: 0, pageToken: '',
      statusTimestampAfter: undefined, pageSize: 2 };
    const page = await client.listTasks(filter);
    const rest = await client.listTasks({ ...filter, pageToken: page.nextPageToken });
    assert.equal(page.totalSize, 3);
    assert.equal(new Set([...page.tasks, ...rest.tasks].map((t) => t.id)).size, 3);
  },

  async 'sees failures and refusals as they are'() {
    const failed = await send('fail it broke');
    assert.equal(state(failed), 'TASK_STATE_FAILED');
    assert.ok(texts(failed.status.message.parts)[0].includes('it broke'));
    const rejected = await send('reject not that');
    assert.equal(state(rejected), 'TASK_STATE_REJECTED');
    await assert.rejects(client.getTask({ tenant: '', id: 'no-such-task' }), { name: 'TaskNotFoundError' });
    await assert.rejects(send('more', { taskId: failed.id }), { name: 'UnsupportedOperationError' });
  },
};

const held = [];
for (const [name, step] of Object.entries(steps)) {
  try {
    await step();
  } catch (error) {
    console.error(`step failed: ${name}`);
    throw error;
  }
  held.push(name);
}
console.log(JSON.stringify(held));
