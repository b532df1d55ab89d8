// A foreign server of A2A 0.3 (npm @a2a-js/sdk 0.3 with express) as its users would write one, for
// the gateway to call. Prints its base URL as one JSON line, and is ended by a signal.
//
// Prompts and environment are those of server.mjs.
import { randomUUID } from 'node:crypto';
import express from 'express';
import { DefaultRequestHandler, InMemoryTaskStore } from '@a2a-js/sdk/server';
import { UserBuilder, agentCardHandler, jsonRpcHandler, restHandler } from '@a2a-js/sdk/server/express';

const text = (message) => message.parts.map((part) => part.text ?? '').join(' ').trim();

class Executor {
  stop = new Map();

  async execute({ taskId, contextId, task, userMessage }, bus) {
    const said = text(userMessage);
    const status = (state, words, final = false) => bus.publish({
      kind: 'status-update', taskId, contextId, final,
      status: {
        state, timestamp: new Date().toISOString(),
        ...(words && { message: {
          kind: 'message', messageId: randomUUID(), role: 'agent', taskId, contextId,
          parts: [{ kind: 'text', text: words }],
        } }),
      },
    });
    const chunk = (n, lastChunk) => bus.publish({
      kind: 'artifact-update', taskId, contextId, append: n > 1, lastChunk,
      artifact: { artifactId: 'out', name: 'out', parts: [{ kind: 'text', text: `chunk ${n} ` }] },
    });
    if (!task) {
      bus.publish({
        kind: 'task', id: taskId, contextId, status: { state: 'submitted' }, history: [userMessage],
      });
    }
    status('working');
    const answered = task !== undefined;
    const what = answered ? 'echo' : said.split(' ')[0];
    if (what === 'ask') {
      status('input-required', 'Which colour?', true);
    } else if (what === 'wait') {
      await new Promise((resolve) => this.stop.set(taskId, resolve));
      status('canceled', undefined, true);
    } else if (what === 'fail') {
      status('failed', 'as asked', true);
    } else if (what === 'gate') {
      chunk(1, false);
      await released;
      chunk(2, true);
      status('completed', 'released', true);
    } else if (what === 'stream') {
      for (const n of [1, 2, 3]) chunk(n, n === 3);
      status('completed', 'streamed', true);
    } else {
      status('completed', `${answered ? 'answered' : 'echo'}: ${said}`, true);
    }
    bus.finished();
  }

  async cancelTask(taskId) {
    this.stop.get(taskId)?.();
  }
}

let release;
const released = new Promise((resolve) => { release = resolve; });
const app = express();
const server = app.listen(0, '127.0.0.1', () => {
  const base = `http://127.0.0.1:${server.address().port}`;
  const named = process.env.PUBLIC_URL ?? base;
  const paths = { JSONRPC: '/rpc', 'HTTP+JSON': '/rest' };
  const [first, ...others] = (process.env.INTERFACES ?? 'JSONRPC,HTTP+JSON').split(',');
  const card = {
    name: 'JavaScript agent of 0.3', description: 'A foreign peer.', version: '1.0.0',
    protocolVersion: '0.3.0', url: named + paths[first], preferredTransport: first,
    additionalInterfaces: others.map((transport) => ({ url: named + paths[transport], transport })),
    capabilities: { streaming: process.env.STREAMING !== 'no' },
    defaultInputModes: ['text/plain'], defaultOutputModes: ['text/plain'],
    skills: [{ id: 'echo', name: 'Echo', description: 'Echoes.', tags: ['test'] }],
  };
  const requestHandler = new DefaultRequestHandler(card, new InMemoryTaskStore(), new Executor());
  const userBuilder = UserBuilder.noAuthentication;
  app.post('/release', (_request, response) => { release(); response.end(); });
  app.use('/.well-known/agent-card.json', agentCardHandler({ agentCardProvider: requestHandler }));
  app.use('/rpc', jsonRpcHandler({ requestHandler, userBuilder }));
  app.use('/rest', restHandler({ requestHandler, userBuilder }));
  console.log(JSON.stringify({ url: base }));
});
