/**
 * What a server is at this moment, to be put into its record by somebody who knows that it is the right one (TD-07, TD-08): the key it shows,
 * or the digest of the files that are installed for it. Reads; sends no request to the server and starts no process.
 */
import { Server } from '../inventory/records.ts';
import { isFault } from '../lib/fault.ts';
import { err, ok } from '../lib/result.ts';
import { artifactIdentity } from '../sandbox/artifact-digest.ts';
import { artifactFrom } from '../sandbox/artifact.ts';
import { shownKey } from '../upstream/dial.ts';
import { notFound } from './problem.ts';
import { itemOf } from './records.ts';
import { handler } from './route.ts';

export const serverIdentity = handler({
  run: async ({ ctx, params, ref }) => {
    const id = params['server'] ?? '';
    const server = itemOf(ctx, 'server', id, Server);
    if (server === undefined) return err(notFound('server', id));
    const { upstream, source } = server;
    try {
      if (upstream.transport === 'stdio') {
        const from = artifactFrom(ctx.artifacts.folder, upstream.command, source);
        const found = await artifactIdentity(upstream, from);
        const recorded = source?.digest ?? null;
        return ok({ body: { server: id, ...found, recorded, same: recorded === found.digest } });
      }
      const { url, allowedNetworks, pins } = upstream;
      const pin = await shownKey(url, { allowedNetworks, requireHttps: true });
      return ok({ body: { server: id, pin, recorded: pins ?? null, same: pins?.includes(pin) ?? false } });
    } catch (error) {
      if (!isFault(error)) throw error;
      ctx.log.warn(
        { ref, server: id, code: error.code, detail: error.message },
        'the identity of a server cannot be read',
      );
      return err({
        status: 502,
        code: error.code,
        message: 'What the server is cannot be read now.',
        remedy: 'The process log has the cause under this reference.',
      });
    }
  },
});
