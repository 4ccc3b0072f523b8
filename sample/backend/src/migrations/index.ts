import { environment } from "../config/environment";
import { AddMileage1710000000000 } from "./1710000000000-add-mileage";
import { AddPhoto1712000000000 } from "./1712000000000-add-photo";
import { AddProcessed1714000000000 } from "./1714000000000-add-processed";
import { CreateVehicleEvents1716000000000 } from "./1716000000000-create-vehicle-events";
import { IndexVehiclesByCreation1718000000000 } from "./1718000000000-index-vehicles-by-creation";
import { BreakOnPurpose1999000000000 } from "./1999000000000-break-on-purpose";
import { extraMigration, type MigrationClass } from "./extra-migration";

export function migrations(): MigrationClass[] {
  return [
    AddMileage1710000000000,
    AddPhoto1712000000000,
    AddProcessed1714000000000,
    CreateVehicleEvents1716000000000,
    IndexVehiclesByCreation1718000000000,
    ...environment.extraMigrations.map(extraMigration),
    ...(environment.variant === "bad-migration" ? [BreakOnPurpose1999000000000] : []),
  ];
}
