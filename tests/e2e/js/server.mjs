// A foreign A2A server (npm @a2a-js/sdk with express) as its users would write one, for the gateway
// to call. Prints its base URL as one JSON line, and is ended by a signal.
//
// The first word of a prompt says what the agent does: `echo` (default), `stream` (three chunks of one
// artifact), `ask` (a question; the answer is echoed), `wait` (until it is cancelled), `fail`, `gate` (a
// chunk, then silence until POST /release, then another). INTERFACES: the bindings in its card;
// PUBLIC_URL: where it says it is; STREAMING=no.
import { randomUUID } from 'node:crypto';
import express from 'express';
import { AgentCard, Task, TaskArtifactUpdateEvent, TaskStatusUpdateEvent } from '@a2a-js/sdk';
import { AgentEvent, DefaultRequestHandler, InMemoryTaskStore } from '@a2a-js/sdk/server';
import { UserBuilder, agentCardHandler, jsonRpcHandler, restHandler } from '@a2a-js/sdk/server/express';

const text = (message) => message.parts.map((part) => part.content?.value ?? '').join(' ').trim();

class Executor {
  stop = new Map();

  async execute({ taskId, contextId, task, userMessage }, bus) {
    const said = text(userMessage);
    const status = (state, words) => bus.publish(AgentEvent.statusUpdate(TaskStatusUpdateEvent.fromJSON({
      taskId, contextId,
      status: {
        state: `TASK_STATE_${state}`, timestamp: new Date().toISOString(),
        ...(words && { message: {
          messageId: randomUUID(), role: 'ROLE_AGENT', parts: [{ text: words }], taskId, contextId,
        } }),
      },
    })));
    bus.publish(AgentEvent.task(task ?? Task.fromJSON({
      id: taskId, contextId, status: { state: 'TASK_STATE_SUBMITTED' },
    })));
    status('WORKING');
    const answered = task !== undefined;
    const what = answered ? 'echo' : said.split(' ')[0];
    if (what === 'ask') {
      status('INPUT_REQUIRED', 'Which colour?');
    } else if (what === 'wait') {
      await new Promise((resolve) => this.stop.set(taskId, resolve));
      status('CANCELED');
    } else if (what === 'fail') {
      status('FAILED', 'as asked');
    } else if (what === 'gate') {
      const chunk = (n, lastChunk) => bus.publish(AgentEvent.artifactUpdate(TaskArtifactUpdateEvent.fromJSON({
        taskId, contextId, append: n > 1, lastChunk,
        artifact: { artifactId: 'out', name: 'out', parts: [{ text: `chunk ${n} ` }] },
      })));
      chunk(1, false);
      await released;
      chunk(2, true);
      status('COMPLETED', 'released');
    } else if (what === 'stream') {
      for (const n of [1, 2, 3]) {
        bus.publish(AgentEvent.artifactUpdate(TaskArtifactUpdateEvent.fromJSON({
          taskId, contextId, append: n > 1, lastChunk: n === 3,
          artifact: { artifactId: 'out', name: 'out', parts: [{ text: `chunk ${n} ` }] },
        })));
      }
      status('COMPLETED', 'streamed');
    } else {
      status('COMPLETED', `${answered ? 'answered' : 'echo'}: ${said}`);
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
  const interfaces = (process.env.INTERFACES ?? 'JSONRPC,HTTP+JSON').split(',');
  const card = AgentCard.fromJSON({
    name: 'JavaScript agent', description: 'A foreign peer.', version: '1.0.0',
    supportedInterfaces: interfaces.map((protocolBinding) => (
      { url: named + paths[protocolBinding], protocolBinding, protocolVersion: '1.0' })),
    capabilities: { streaming: process.env.STREAMING !== 'no' },
    defaultInputModes: ['text/plain'], defaultOutputModes: ['text/plain'],
    skills: [{ id: 'echo', name: 'Echo', description: 'Echoes.', tags: ['test'] }],
  });
  const requestHandler = new DefaultRequestHandler(card, new InMemoryTaskStore(), new Executor());
  const userBuilder = UserBuilder.noAuthentication;
  app.use('/.well-known/agent-card.json', agentCardHandler({ agentCardProvider: requestHandler }));
  app.post('/release', (_request, response) => { release(); response.end(); });
  app.use('/rpc', jsonRpcHandler({ requestHandler, userBuilder }));
  app.use('/rest', restHandler({ requestHandler, userBuilder }));
  console.log(JSON.stringify({ url: base }));
});
