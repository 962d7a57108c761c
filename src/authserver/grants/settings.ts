/** Settings of the grants beyond the authorization code: `authserver.grants`. Checked with the rest of the configuration. */
import { z } from 'zod';

export const GrantSettings = z.strictObject({}).prefault({});
