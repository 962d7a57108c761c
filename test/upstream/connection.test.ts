/** The connection contract on real servers: both eras over both transports, and the oracle in its four ways of speaking. */
import { connectionContract } from '../contracts/connection.ts';
import { ALL, conversationContract } from '../contracts/conversation.ts';
import { startLegacy, startSseServer } from '../support/upstreams/legacy-server.ts';
import { startModern } from '../support/upstreams/modern-server.ts';
import { httpServer, sseServer, stdioServer, testPool } from '../support/upstreams/open.ts';
import { type SinkOptions, startSink } from '../support/upstreams/sink.ts';

for (const [name, start] of [
  ['modern', startModern],
  ['legacy', startLegacy],
] as const) {
  connectionContract(`SDK server, ${name}, HTTP`, { era: name, name }, async (timeoutMs) => {
    const server = await start();
    const pool = testPool();
    return {
      connection: await pool.connection(name, httpServer(server.url, {}, timeoutMs)),
      changeTools: () => server.changeTools(),
      close: async () => {
        await pool.closeAll();
        await server.close();
      },
    };
  });

  connectionContract(`SDK server, ${name}, stdio in the sandbox`, { era: name, name }, async (timeoutMs) => {
    const pool = testPool();
    const connection = await pool.connection(
      name,
      stdioServer(`test/support/upstreams/${name}-server.ts`, {}, timeoutMs),
    );
    return {
      connection,
      changeTools: async () => {
        await connection.request(
          { method: 'tools/call', params: { name: 'grow', arguments: {} } },
          AbortSignal.timeout(30_000),
        );
      },
      close: () => pool.closeAll(),
    };
  });
}

connectionContract('SDK server, HTTP+SSE', { era: 'legacy', name: 'legacy' }, async (timeoutMs) => {
  const server = await startSseServer();
  const pool = testPool();
  return {
    connection: await pool.connection('sse', sseServer(server.url, {}, timeoutMs)),
    changeTools: () => server.changeTools(),
    close: async () => {
      await pool.closeAll();
      await server.close();
    },
  };
});

for (const [name, era, start, target] of [
  ['modern, HTTP', 'modern', startModern, httpServer],
  ['legacy, HTTP', 'legacy', startLegacy, httpServer],
  ['legacy, HTTP+SSE', 'legacy', startSseServer, sseServer],
] as const) {
  const open = async (timeoutMs: number) => {
    const server = await start();
    const pool = testPool();
    return {
      connection: await pool.connection(name, target(server.url, {}, timeoutMs), { key: 'ada', capabilities: ALL }),
      changeTools: () => server.changeTools(),
      changeResource: () => server.changeResource(),
      close: async () => {
        await pool.closeAll();
        await server.close();
      },
    };
  };
  conversationContract(`SDK server, ${name}`, { era, ownStreams: !name.endsWith('SSE'), open });
}

for (const era of ['modern', 'legacy'] as const) {
  const open = async (timeoutMs: number) => {
    const pool = testPool();
    const server = stdioServer(`test/support/upstreams/${era}-server.ts`, { era }, timeoutMs);
    const connection = await pool.connection(era, server, { key: 'ada', capabilities: ALL });
    const use = async (name: string): Promise<void> => {
      await connection.request({ method: 'tools/call', params: { name, arguments: {} } }, AbortSignal.timeout(30_000));
    };
    return {
      connection,
      changeTools: () => use('grow'),
      changeResource: () => use('touch'),
      close: () => pool.closeAll(),
    };
  };
  conversationContract(`SDK server, ${era}, stdio in the sandbox`, { era, ownStreams: false, open });
}

const SINKS: readonly SinkOptions[] = [
  { era: 'modern', answer: 'json' },
  { era: 'modern', answer: 'sse' },
  { era: 'legacy', answer: 'json' },
  { era: 'legacy', answer: 'sse' },
];
for (const options of SINKS) {
  connectionContract(
    `sink, ${options.era}, ${options.answer}`,
    { era: options.era ?? 'modern', name: 'sink' },
    async (timeoutMs) => {
      const sink = await startSink(options);
      const tools = ['echo', 'fail', 'slow', 'cancelled'].map((name) => ({ name, inputSchema: { type: 'object' } }));
      sink.setTools(tools);
      let cancelled = 0;
      const told = new Set<unknown>();
      sink.onCall(async ({ name, arguments: args, message, gone }) => {
        const cancelledByMessage = (): boolean =>
          sink.received.some(
            (r) =>
              r.message?.['method'] === 'notifications/cancelled' &&
              (r.message['params'] as { requestId: unknown }).requestId === message['id'],
          );
        if (name === 'fail') return { content: [], isError: true };
        if (name === 'cancelled') return { content: [{ type: 'text', text: String(cancelled) }] };
        if (name === 'slow') {
          await gone;
          // Legacy servers must be told in words (C10); a closed stream alone is not a cancellation.
          while (options.era === 'legacy' && !cancelledByMessage() && told.size === 0)
            await new Promise((resolve) => setTimeout(resolve, 10));
          cancelled++;
        }
        return { content: [{ type: 'text', text: JSON.stringify(args) }] };
      });
      const pool = testPool();
      return {
        connection: await pool.connection('sink', httpServer(sink.url, {}, timeoutMs)),
        changeTools: () => sink.setTools(tools),
        close: async () => {
          told.add('over');
          await pool.closeAll();
          await sink.close();
        },
      };
    },
  );
}
