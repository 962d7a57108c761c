/**
 * A stdio server of 2025-11-25 that behaves badly on demand: `echo`, `slow` (answers after 200 ms), `steps` (reports progress), `ask`
 * (wants a form filled in first), `die` (ends in the middle of the call), `babble` (prints what is no message, then answers).
 * Uses nothing but node, so that it runs in the barest sandbox.
 */
type Json = Record<string, unknown>;

const write = (message: Json): void => void process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
const schema = { type: 'object', properties: { text: { type: 'string' } } };
const TOOLS = ['echo', 'slow', 'steps', 'ask', 'die', 'babble'].map((name) => ({ name, inputSchema: schema }));

const asked = new Map<string, unknown>();
let asks = 0;

function call(id: unknown, { name, arguments: given, _meta: meta }: Json): void {
  const answer = (text: string): void => write({ id, result: { content: [{ type: 'text', text }] } });
  const said = (given as Json | undefined)?.['text'];
  const text = typeof said === 'string' ? said : '';
  const token = (meta as Json | undefined)?.['progressToken'];
  switch (name) {
    case 'die':
      process.exit(9);
      return;
    case 'slow':
      setTimeout(answer, 200, text);
      return;
    case 'steps':
      for (const progress of token === undefined ? [] : [1, 2, 3])
        write({ method: 'notifications/progress', params: { progressToken: token, progress, total: 3 } });
      return answer(text);
    case 'babble':
      process.stdout.write('not a message\n');
      return answer(text);
    case 'ask': {
      const key = `ask-${++asks}`;
      asked.set(key, id);
      const requestedSchema = { type: 'object', properties: { sure: { type: 'boolean' } } };
      return write({ id: key, method: 'elicitation/create', params: { message: 'Sure?', requestedSchema } });
    }
    default:
      return answer(text);
  }
}

function take(line: string): void {
  const { id, method, params = {} } = JSON.parse(line) as { id?: unknown; method?: string; params?: Json };
  if (method === 'initialize')
    write({
      id,
      result: {
        protocolVersion: '2025-11-25',
        capabilities: { tools: {} },
        serverInfo: { name: 'soak', version: '1' },
      },
    });
  else if (method === 'tools/list') write({ id, result: { tools: TOOLS } });
  else if (method === 'tools/call') call(id, params);
  else if (method !== undefined && id !== undefined)
    write({ id, error: { code: -32601, message: 'Method not found' } });
  else if (typeof id === 'string' && asked.has(id)) {
    write({ id: asked.get(id), result: { content: [{ type: 'text', text: 'asked' }] } });
    asked.delete(id);
  }
}

let text = '';
process.stdin.setEncoding('utf8').on('data', (chunk: string) => {
  text += chunk;
  for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
    take(text.slice(0, end));
    text = text.slice(end + 1);
  }
});
