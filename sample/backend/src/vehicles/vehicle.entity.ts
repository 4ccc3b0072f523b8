import { Column, CreateDateColumn, Entity, Index, PrimaryGeneratedColumn } from "typeorm";

@Entity("vehicles")
@Index("IDX_vehicles_created_at", ["createdAt"])
export class Vehicle {
  @PrimaryGeneratedColumn({ primaryKeyConstraintName: "PK_vehicles" })
  id!: number;

  @Column({ length: 20 })
  plate!: string;

  @Column({ default: 0 })
  mileage!: number;

  @Column({ type: "varchar", nullable: true })
  photo!: string | null;

  @Column({ default: false })
  processed!: boolean;

  @CreateDateColumn({ name: "created_at", type: "timestamptz" })
  createdAt!: Date;
}
