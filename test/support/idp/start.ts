/** Starts the OpenID provider of `openid-provider.ts` as a process, and speaks with it. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Lie, Order, Visitor } from './openid-provider.ts';

export const IDP_SECRET = 'a-secret-of-the-tests-only-0123456789';

export interface TestProvider {
  readonly issuer: string;
  configure(redirectUri: string): Promise<void>;
  visitor(visitor: Visitor): Promise<void>;
  lie(lie: Lie | null): Promise<void>;
  rotate(): Promise<void>;
  stop(): Promise<void>;
}

export async function startOpenIdProvider(): Promise<TestProvider> {
  const child = fork(join(import.meta.dirname, 'openid-provider.ts'), [], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const [{ issuer }] = (await once(child, 'message', { signal: AbortSignal.timeout(30_000) })) as [{ issuer: string }];
  const tell = async (order: Order): Promise<void> => {
    const answered = once(child, 'message', { signal: AbortSignal.timeout(30_000) });
    child.send(order);
    await answered;
  };
  return {
    issuer,
    configure: (redirectUri) => tell({ order: 'configure', redirectUri, clientSecret: IDP_SECRET }),
    visitor: (visitor) => tell({ order: 'visitor', visitor }),
    lie: (lie) => tell({ order: 'lie', lie }),
    rotate: () => tell({ order: 'rotate' }),
    stop: async () => {
      const exited = once(child, 'exit');
      child.send({ order: 'stop' } satisfies Order);
      await exited;
    },
  };
}
