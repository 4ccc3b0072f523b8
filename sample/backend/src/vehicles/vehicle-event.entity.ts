import { Column, CreateDateColumn, Entity, JoinColumn, ManyToOne, PrimaryGeneratedColumn } from "typeorm";
import { Vehicle } from "./vehicle.entity";

@Entity("vehicle_events")
export class VehicleEvent {
  @PrimaryGeneratedColumn({ primaryKeyConstraintName: "PK_vehicle_events" })
  id!: number;

  @Column({ length: 40 })
  type!: string;

  @CreateDateColumn({ name: "created_at", type: "timestamptz" })
  createdAt!: Date;

  @ManyToOne(() => Vehicle, { nullable: false, onDelete: "CASCADE" })
  @JoinColumn({ name: "vehicle_id", foreignKeyConstraintName: "FK_vehicle_events_vehicle" })
  vehicle!: Vehicle;
}
