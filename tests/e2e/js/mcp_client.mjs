// A foreign MCP client (npm @modelcontextprotocol/sdk 1, or /client 2) works with the seven tools the
// way an agent's own client would.
//
// Usage: node mcp_client.mjs 1|2 legacy|auto http|stdio TARGET, where TARGET is the URL of /mcp (bearer
// token in BRIDGE_TOKEN) or the relay's command; the folder for runs is in RUN_CWD. Prints the
// negotiated era and the name of each step that held, as one JSON object.
import assert from 'node:assert/strict';

const [major, era, way, target] = process.argv.slice(2);
const load = {
  1: async () => {
    const at = '@modelcontextprotocol/sdk';
    const { Client } = await import(`${at}/client/index.js`);
    const { StdioClientTransport } = await import(`${at}/client/stdio.js`);
    const { StreamableHTTPClientTransport } = await import(`${at}/client/streamableHttp.js`);
    return { Client, StdioClientTransport, StreamableHTTPClientTransport };
  },
  2: async () => ({
    ...(await import('@modelcontextprotocol/client')),
    ...(await import('@modelcontextprotocol/client/stdio')),
  }),
};
const { Client, StdioClientTransport, StreamableHTTPClientTransport } = await load[major]();

const options = major === '2' ? { versionNegotiation: { mode: era } } : {};
const client = new Client({ name: 'foreign', version: '1' }, options);
const headers = { Authorization: `Bearer ${process.env.BRIDGE_TOKEN}` };
const transport = way === 'http'
  ? new StreamableHTTPClientTransport(new URL(target), { requestInit: { headers } })
  : new StdioClientTransport({ command: target, env: { ...process.env } });
await client.connect(transport);

// From here on the client checks every result against its tool's schema (1.x: those it has listed).
const { tools } = await client.listTools();

const BEAT_MS = 5000; // between progress notifications of a waiting poll
const ENDS = ['completed', 'failed', 'cancelled', 'rejected'];

const request = (name, args, more) =>
  major === '1' ? client.callTool({ name, arguments: args }, undefined, more)
    : client.callTool({ name, arguments: args }, more);

async function call(name, args, more) {
  const result = await request(name, args, more);
  assert.ok(!result.isError, JSON.stringify(result.content));
  assert.equal(result.content.length, 1);
  assert.deepEqual(JSON.parse(result.content[0].text), result.structuredContent);
  return result.structuredContent;
}

const spawn = (prompt, more = {}) => call('spawn_run', {
  backend: 'remote_a2a', backend_config: { agent: 'scripted' }, role: 'worker', prompt,
  cwd: process.env.RUN_CWD, session_mode: 'new', ...more,
});

async function follow(run_id, until = ENDS) {
  const events = [];
  for (let after_seq = 0; ;) {
    const page = await call('poll_events', { run_id, after_seq });
    events.push(...page.events);
    after_seq = page.next_after_seq;
    if (until.includes(page.status) && !page.has_more) return { ...page, events };
  }
}

async function waiting() {
  // A run that says nothing any more until it is cancelled, and where to wait for it.
  const { run_id } = await spawn('say begun\nhang');
  for (let after_seq = 0; ;) {
    const page = await call('poll_events', { run_id, after_seq });
    after_seq = page.next_after_seq;
    if (page.events.some((event) => event.data.text === 'begun')) return { run_id, after_seq };
  }
}

const steps = {
  async 'is shown the seven, with what they take, return and do'() {
    assert.equal(tools.length, 7);
    for (const tool of tools) {
      assert.equal(tool.inputSchema.type, 'object');
      assert.equal(tool.outputSchema.type, 'object');
      assert.equal(typeof tool.annotations.readOnlyHint, 'boolean');
      assert.ok(tool.description);
    }
    assert.ok(client.getInstructions().includes('spawn_run'));
  },

  async 'has a run done and reads what came of it'() {
    const { run_id, status } = await spawn('reason why\nsay hello');
    assert.equal(status, 'queued');
    const page = await follow(run_id);
    assert.deepEqual(page.events.map((e) => e.seq), page.events.map((_, at) => at + 1));
    assert.equal(page.events.at(-1).type, 'run_completed');
    const run = await call('get_run', { run_id });
    assert.equal(run.result.final_response, 'hello');
    const listed = async (cursor) => {
      const page = await call('list_runs', { limit: 100, ...(cursor && { cursor }) });
      return page.runs.some((item) => item.run_id === run_id) || listed(page.next_cursor);
    };
    assert.ok(await listed());
  },

  async 'keeps a long wait open by the progress it is shown'() {
    const { run_id, after_seq } = await waiting();
    const beats = [];
    const began = performance.now();
    // Over at 1.6 beats; a client that takes progress for nothing gives up before.
    const page = await call('poll_events', { run_id, after_seq, wait_ms: 1.6 * BEAT_MS },
      { timeout: 1.5 * BEAT_MS, resetTimeoutOnProgress: true, onprogress: (beat) => beats.push(beat) });
    assert.ok(performance.now() - began >= 1.5 * BEAT_MS);
    assert.deepEqual([page.events, page.status], [[], 'running']);
    assert.ok(beats.length >= 1);
    assert.match(beats[0].message, /^running/);
    assert.equal(beats[0].total, 8);
    assert.equal((await call('cancel_run', { run_id })).run_id, run_id);
  },

  async 'gives a wait up, and the run goes on'() {
    const { run_id, after_seq } = await waiting();
    const stop = new AbortController();
    const wait = request('poll_events', { run_id, after_seq, wait_ms: 30_000 }, { signal: stop.signal });
    const beside = call('get_run', { run_id }); // beside a call that waits, others are answered
    const outcome = assert.rejects(wait, /enough|abort/i);
    assert.equal((await beside).status, 'running');
    stop.abort('enough');
    await outcome;
    assert.equal((await call('get_run', { run_id })).status, 'running');
    await call('cancel_run', { run_id });
    assert.equal((await follow(run_id)).status, 'cancelled');
  },

  async 'answers what a run asks'() {
    const { run_id } = await spawn('ask Which colour? [blue|green]\nsay thanks');
    const { pending } = await follow(run_id, ['input_required']);
    const [{ request_id, questions }] = pending;
    const answer = { request_id, answers: { [questions[0].id]: 'green' } };
    const answered = await call('continue_run', { run_id, answer });
    assert.equal(answered.did, 'answered');
    assert.equal((await follow(run_id)).status, 'completed');
    const resumed = await call('continue_run', { run_id, text: 'say again' });
    assert.notEqual(resumed.run_id, run_id);
    assert.equal((await follow(resumed.run_id)).status, 'completed');
  },

  async 'gets results that match the schemas, whatever the run does'() {
    // 1.x throws when a result does not match the schema that was published of it.
    const output_schema = { type: 'object', properties: { n: { type: 'integer' } } };
    const all = `command ls => a exit 1\nfile a.py\ntodo a|b 1\ntool Search {"q": [1, null]}\n`
      + 'artifact notes some text\nstream 3 0 word\nnote aside\njson {"n": 1}\nsay done';
    const { run_id } = await spawn(all, { output_schema, metadata: { ticket: [7, null] } });
    assert.equal((await follow(run_id)).status, 'completed');
    const run = await call('get_run', { run_id });
    assert.deepEqual(run.result.structured_output, { n: 1 });
    for (const [script, status, says] of [
      ['fail it broke', 'failed', /it broke/], ['reject not that', 'rejected', /not that/],
      ['crash', 'failed', /./],
    ]) {
      const ended = (await spawn(script)).run_id;
      assert.equal((await follow(ended)).status, status);
      assert.match((await call('get_run', { run_id: ended })).error.message, says);
    }
    const asked = (await spawn('permission Bash {"command": "ls"}\nsay ok',
      { backend_config: { agent: 'scripted', permission_mode: 'ask' } })).run_id;
    const { pending } = await follow(asked, ['input_required']);
    assert.equal(pending[0].kind, 'permission');
    await call('get_run', { run_id: asked });
    await call('cancel_run', { run_id: asked });
  },

  async 'reads a long text whole'() {
    const { run_id } = await spawn('big 150000\nsay small');
    const { events } = await follow(run_id);
    const { seq } = events.find((event) => event.data.artifact_refs?.['/text']);
    let text = '';
    for (let more = true; more;) {
      const part = await call('get_event_artifact',
        { run_id, seq, field_path: '/text', offset: text.length });
      text += part.content;
      more = part.has_more;
      if (!more) assert.equal(text.length, part.total_bytes);
    }
    assert.equal(text.length, 150_000);
  },

  async 'is refused in one line of text'() {
    for (const [name, args, says] of [
      ['get_run', { run_id: 'nope' }, /list_runs/],
      ['poll_events', { run_id: 'nope' }, /after_seq/],
      ['list_runs', { flavour: 1 }, /flavour/],
    ]) {
      const result = await request(name, args);
      assert.equal(result.isError, true);
      assert.equal(result.structuredContent, undefined);
      assert.equal(result.content.length, 1);
      assert.match(result.content[0].text, says);
      assert.ok(!result.content[0].text.includes('\n'));
    }
    await assert.rejects(request('no_tool', {}), { code: -32602 });
  },

  async 'reads runs as resources'() {
    const { run_id } = await spawn('say as a resource');
    await follow(run_id);
    const listed = async (cursor) => {
      const page = await client.listResources(cursor && { cursor });
      return page.resources.some(({ uri }) => uri === `run://${run_id}`) || listed(page.nextCursor);
    };
    assert.ok(await listed());
    const { resourceTemplates } = await client.listResourceTemplates();
    assert.deepEqual(resourceTemplates.map((template) => template.uriTemplate).sort(),
      ['run://{run_id}', 'run://{run_id}/result']);
    const { contents } = await client.readResource({ uri: `run://${run_id}/result` });
    assert.equal(contents[0].text, 'as a resource');
    const whole = (await client.readResource({ uri: `run://${run_id}` })).contents[0];
    assert.equal(JSON.parse(whole.text).run_id, run_id);
    await assert.rejects(client.readResource({ uri: 'run://nope' }), /nope/);
  },
};

// All at once: a client's calls do not wait for one another.
const held = await Promise.all(Object.entries(steps).map(async ([name, step]) => {
  try {
    await step();
    return name;
  } catch (error) {
    console.error(`step failed: ${name}`);
    throw error;
  }
}));
// 1.x tells it over HTTP alone.
const protocol = major === '2' ? client.getNegotiatedProtocolVersion() : transport.protocolVersion;
await client.close();
console.log(JSON.stringify({ protocol: protocol ?? null, held }));
