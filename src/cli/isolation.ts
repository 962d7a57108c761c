/** The isolation backend that the configuration names: this one and no other, also where it does not work (EX-09). */
import { sha256Hex } from '../lib/bytes.ts';
import type { IsolationBackend } from '../sandbox/backend.ts';
import { bubblewrapBackend } from '../sandbox/bubblewrap.ts';
import { containerBackend } from '../sandbox/container.ts';
import type { Config } from './config.ts';

type Named = Pick<Config, 'sandbox' | 'dataDir' | 'node' | 'file' | 'secrets' | 'audit'>;

export function isolationOf(config: Named): IsolationBackend {
  const { uid, container } = config.sandbox;
  const { publishDir } = config.audit;
  // Where the gateway is nobody in particular, its servers are the same user: what they see they can read.
  const forbidden = [
    config.dataDir,
    ...(config.file === null ? [] : [config.file]),
    ...config.secrets.folders,
    ...(publishDir === undefined ? [] : [publishDir]),
  ];
  const common = { forbidden, ...(uid !== undefined && { uidFor: () => uid }) };
  // config.ts refuses one without the other.
  if (config.sandbox.backend === 'bubblewrap' || container === undefined)
    return bubblewrapBackend({ ...common, node: `${config.dataDir} ${config.node}` });
  return containerBackend({
    ...common,
    engine: container.engine,
    image: container.image,
    ...(container.runtime !== undefined && { runtime: container.runtime }),
    // Two installations on one machine must not remove each other's containers.
    owner: sha256Hex(config.dataDir).slice(0, 16),
    node: config.node,
  });
}
